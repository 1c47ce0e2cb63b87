"""An asyncio agent: uploads the files it is given, all at once, and reads each back.

async_agent.py FILE...
"""

from __future__ import annotations

import asyncio
import sys
from hashlib import sha256
from pathlib import Path

from argosy import AsyncClient, FileReference


async def carry(client: AsyncClient, path: Path) -> FileReference:
    """Up, and down again block by block."""
    reference = await client.upload_file(path, {"from": "async-agent"})
    seen = sha256()
    async for block in client.iter_bytes(reference):
        seen.update(block)
    assert seen.hexdigest() == reference.sha256
    return reference


async def main(paths: list[Path]) -> None:
    async with AsyncClient() as client:
        for reference in await asyncio.gather(*(carry(client, path) for path in paths)):
            print(reference.name, reference.size, reference.sha256)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main([Path(argument) for argument in sys.argv[1:]]))
