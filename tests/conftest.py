"""Makes ``weight_rule`` and ``parity`` importable everywhere: pytest puts the folder of this file on the path."""
