"""mlrun makes machine-learning runs repeatable: project file in, lineage record out."""

__version__ = "0.1.0"
