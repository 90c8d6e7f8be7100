"""The sections of the settings: fields that one part of the program takes together."""
