"""How different can metamers of a layer be? Signals pushed apart while each remains one: how much a layer ignores."""
