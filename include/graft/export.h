/* GRAFT_API marks what libgraft.so exports; everything else in it is hidden. */
#ifndef GRAFT_EXPORT_H
#define GRAFT_EXPORT_H

#define GRAFT_API __attribute__((visibility("default")))

#endif
