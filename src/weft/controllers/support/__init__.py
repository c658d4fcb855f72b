"""What several controllers share: pod state, ownership, patches. No controller itself."""
