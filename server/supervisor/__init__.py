"""What runs and watches the processes of one machine. Imports no torch."""
