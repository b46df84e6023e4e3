"""Quality gates on corrections: each scores one fault, bounds decide, the texts themselves stay as they came."""
