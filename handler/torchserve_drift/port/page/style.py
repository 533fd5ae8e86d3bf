"""The page's style sheet, and the hash by which a content security policy allows it."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --bad: #c62828; --good: #2e7d32; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.1rem; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.4rem; margin: 2.2rem 0 .3rem; overflow-wrap: anywhere; }
h2 small, .soft { color: var(--soft); font-weight: 400; }
p { margin: .2rem 0 .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1.2rem; min-width: 24rem; }
th, td { text-align: left; padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
td.name { overflow-wrap: anywhere; max-width: 22rem; }
.state { border-radius: .7rem; padding: .05rem .6rem; font-size: .85rem; color: #fff; background: var(--soft);
  vertical-align: middle; white-space: nowrap; }
.state.ok { background: var(--good); }
.state.drifted { background: var(--bad); }
tr.drifted td.name { border-left: .25rem solid var(--bad); padding-left: .5rem; }
"""
STYLE_SOURCE = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""The source that a content security policy must allow, so that browsers apply `STYLE` and no other style."""
