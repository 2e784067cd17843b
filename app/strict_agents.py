"""An MCP server that drops nothing of what an agent sends, and says in plain words what it can't take.

It needs the package mcp, so `app.agents` imports it where it is wanted.
"""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError


class StrictServer(MCPServer):
    """The SDK's server ignores arguments that a tool does not have, so that a misspelt filter would filter nothing."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:  # noqa: ANN401
        """Call a tool by name.

        Raises:
            ToolError: it has no such argument, one can't be taken, or the tool itself has refused.
        """
        tool = next((one for one in await self.list_tools() if one.name == name), None)
        known = tool.input_schema.get("properties", {}) if tool else {}
        strangers = [argument for argument in arguments if argument not in known]
        if tool and strangers:
            raise ToolError(f"{name} has no argument {strangers[0][:80]!r}; it takes {', '.join(known) or 'none'}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as err:
            if not isinstance(err.__cause__, ValidationError):
                raise
            wrong = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r:.80}"
                for one in err.__cause__.errors()
            )
            raise ToolError(wrong) from err.__cause__
