"""The screens: Textual on top of the values and the port; never torch."""
