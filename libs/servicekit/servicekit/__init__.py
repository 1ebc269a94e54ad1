"""What both services share: settings, logs, errors, health, metrics, tokens, byte budgets, the server runner.

Each module is imported by its own name, so that a program loads only what it uses; the README says what each imports.
"""
