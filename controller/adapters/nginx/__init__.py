"""nginx as the gateway: `config` renders, `process` talks to the running master, `gateway` applies plans."""

from controller.adapters.nginx.config import NginxConfig, nginx_binary, render
from controller.adapters.nginx.gateway import NginxGateway, NginxParts, command, prepare

__all__ = ["NginxConfig", "NginxGateway", "NginxParts", "command", "nginx_binary", "prepare", "render"]
