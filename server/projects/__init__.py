"""Projects: a user's folders of avatars."""
