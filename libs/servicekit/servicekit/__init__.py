"""What both services share: settings, logs, errors, health, metrics, tokens, byte budgets, the server runner.

Import each module by its own name, so that a program loads only what it uses. The README says what each imports.
"""
