"""What do others recognise? Models asked what metamers of other models, or natural signals, show."""
