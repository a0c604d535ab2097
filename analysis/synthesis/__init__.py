"""Making metamers: settings, optimizers and priors, the descent at one layer, and the driver over batches."""
