"""What every other part stands on: errors, catalogues, image files, devices. Imports nothing of ours."""
