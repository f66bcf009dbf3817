"""Front ends, the hub graph and its lowerings: models of other frameworks become functions and Keras models."""
