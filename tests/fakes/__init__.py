"""Services of others, made by ourselves for the tests, with faults that can be switched on."""
