"""What are metamers like? Spectra, levels, diversity, and adversarial examples of the same size beside them."""
