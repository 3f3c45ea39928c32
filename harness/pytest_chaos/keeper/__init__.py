"""The one owner of the stack: nodes, proxies, receiver, leases, the ledger of undos, the sweep."""
