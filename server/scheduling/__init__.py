"""Which generation is drawn next, who draws it, and what brings lost ones back."""
