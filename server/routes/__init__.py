"""The routes of the contract: each module has the bodies and the controllers of one noun."""
