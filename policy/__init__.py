"""The rules of `rollout/` and `pki/` as a Pulumi policy pack: judged in a preview, and in `up` before anything.

`__main__` registers; `adapter` alone knows the policy SDK; everything else is plain functions from a resource's inputs
to sentences. No rule is written here a second time: what a move may be is asked of `rollout.rules`, what a certificate
must be of `pki.checks`. What is added is whether the program really tells hosts what its ledger says.
"""
