"""The servers of the deployment, each as a process on this machine."""

from local.servers.base import NotOurs, Server, ServerFailed

__all__ = ["NotOurs", "Server", "ServerFailed"]
