"""From a picture to a restored picture: backends, tiles, ensembles, the Restorer."""
