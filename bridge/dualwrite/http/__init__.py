"""The dual-write layer for applications in any language: JSON over HTTP."""
