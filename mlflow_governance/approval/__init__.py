"""AGREE: approvals and separation of duties."""
