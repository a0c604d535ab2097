"""The card of a network: a fixed protocol from metamers to the recognition by people that they predict, on one page."""
