"""How alike are layers of networks? CKA and RSA, in bounded memory, with noise ceilings and bootstrap intervals.

Everything follows from the inner products of K activations with each other (`streaming`): CKA takes kernels of them
(`cka`), RSA their distances (`rsa`); `comparison` has both by name.
"""
