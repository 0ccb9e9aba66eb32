"""What an exchange does where an answer at once will not do: each module is one such thing."""
