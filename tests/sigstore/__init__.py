"""A Sigstore of one's own: identity provider, Fulcio, CT log, Rekor v2 and a time stamp authority.

:class:`~tests.sigstore.private.PrivateSigstore` is all of it in this process;
:class:`~tests.sigstore.services.RealSigstore` starts the real servers. Both have the surface of
:class:`~tests.sigstore.deployment.Deployment`.
"""
