"""The one loop that trains every torch model, and the devices that it runs on."""
