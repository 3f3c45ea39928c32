"""Real parts (brokers, proxies, engines) on this machine: where each is found, which version it reports, how it is had.

One file a part. Looking is cheap and changes nothing; fetching writes to the per-user cache or, as root, installs from
Debian. Everything takes its environment as an argument, so that an empty one finds nothing.
"""

from __future__ import annotations

from pytest_chaos.parts._part import Log, Part, Source, all_parts, cache_dir

__all__ = ["Log", "Part", "Source", "all_parts", "cache_dir"]
