"""One Pulumi component a file. Constructors wire; rules are in `rollout/`, certificates in `pki/`."""
