"""An MCP server over stdio that keeps notes, as any program in any language could."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")
notes: list[str] = []


@server.tool()
def write_note(text: str) -> str:
    """Keeps a note."""
    notes.append(text)
    return f"Note {len(notes)} is kept."


@server.tool()
def read_notes() -> str:
    """Reads all notes."""
    return "\n".join(notes) or "There are none."


if __name__ == "__main__":
    server.run("stdio")
