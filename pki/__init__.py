"""X.509 for the internal network, as pure functions over `cryptography`.

Nothing here imports Pulumi, the operating system or the clock: the time is always an argument. Randomness (keys,
serial numbers, nonces) is the one thing that is not.

* `names`       what may stand in a certificate as a SAN, and which SAN covers which dialled name
* `request`     what is asked of a server certificate, and the digest that tells requests apart
* `keys`        private keys: generating them, and their PEM
* `issue`       the certificate authority and the certificates that it signs
* `inspection`  a PEM certificate as a plain value
* `checks`      what must hold before a certificate is served; every problem is found, then raised once
* `sealing`     a private key encrypted so that it may travel through a tool that logs

No exception and no `repr` of this package carries key material.
"""
