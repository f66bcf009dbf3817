"""ONNX models as a source: the project's class for ONNX's own backend tests, and the scoreboard that runs them."""
