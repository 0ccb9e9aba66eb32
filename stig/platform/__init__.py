"""The operating system's rules: tables of what must be so, and the judges that read them.

What is looked at are facts (`stig.facts`), each fetched once for all rules. A rule stands in exactly one table.
"""

from stig.platform import accounts, audit, files, kernel, mounts, network, passwords, software, ssh, upkeep
from stig.platform.proof import Proof, SiteProof

PROOFS: tuple[Proof, ...] = (
    *accounts.PROOFS,
    *passwords.PROOFS,
    *ssh.PROOFS,
    *audit.PROOFS,
    *files.PROOFS,
    *mounts.PROOFS,
    *kernel.PROOFS,
    *network.PROOFS,
    *software.PROOFS,
    *upkeep.PROOFS,
)
SITE_PROOFS: tuple[SiteProof, ...] = accounts.SITE_PROOFS
