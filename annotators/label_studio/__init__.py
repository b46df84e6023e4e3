"""People as annotators, in Label Studio: the screen, the tasks, what their answers say, and the server they work on."""
