"""Mutation testing: small changes to the code, and whether a test notices. `./taskw test:mutation`.

cosmic-ray starts pytest anew for each change, which costs some seconds of processor each time, and mutmut runs a copy
of one source tree, where this workspace has many. So this is a small runner of our own: a process that has loaded
pytest forks for each change, and the fork imports the changed module in place of the real one.
"""
