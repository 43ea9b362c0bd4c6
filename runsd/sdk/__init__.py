"""What task code uses, and the entry points of the Python processes that execute it.

Only the standard library, and little of it: the time from process start to the first line of a task
is paid by every attempt. Modules on that way import no dataclasses, typing, pathlib or asyncio.
"""
