"""Which small changes does a layer notice? The Jacobian of a layer, its spectrum, eigen- and principal distortions."""
