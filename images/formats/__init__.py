"""The files a disk is shipped in, each as importers accept it, and the same bytes for the same disk."""
