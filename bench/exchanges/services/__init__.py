"""The services of others that take part, in Python here and for Node in JavaScript."""
