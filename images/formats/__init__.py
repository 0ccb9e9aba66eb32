"""The files a disk is shipped in, each written as those accept it who import it: bytes in, bytes out, the same for the same disk."""
