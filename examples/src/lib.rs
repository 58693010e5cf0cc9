//! Starting templates, a file each: see the programs of this package.
