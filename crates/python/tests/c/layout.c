/* Prints, from an interpreter's own headers, what `layout` says of that
   version: one "name value" a line. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_interp.h"
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include "internal/pycore_frame.h"
#endif
#if PY_VERSION_HEX < 0x03090000
#include "internal/pycore_pystate.h"
#else
#include "internal/pycore_runtime.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_debug_offsets.h"
#include "internal/pycore_interpframe_structs.h"
#endif

static void print(const char *name, size_t value) { printf("%s %zu\n", name, value); }

#define AT(name, type, member) print(name, offsetof(type, member))

/* The lowest bit of a bit field of a string's state, and how many it has. */
#define BITS(field)                                                        \
    do {                                                                   \
        PyASCIIObject text;                                                \
        unsigned int state;                                                \
        memset(&text, 0, sizeof text);                                     \
        text.state.field = ~0;                                             \
        memcpy(&state, &text.state, sizeof state);                         \
        print("text." #field, (size_t)__builtin_ctz(state));               \
    } while (0)

int main(void) {
    AT("runtime.interpreters", _PyRuntimeState, interpreters.head);
    AT("interpreter.next", PyInterpreterState, next);
    AT("interpreter.id", PyInterpreterState, id);
#if PY_VERSION_HEX >= 0x030b0000
    AT("interpreter.threads", PyInterpreterState, threads.head);
#else
    AT("interpreter.threads", PyInterpreterState, tstate_head);
#endif

    AT("thread.next", PyThreadState, next);
    AT("thread.interpreter", PyThreadState, interp);
    AT("thread.pthread", PyThreadState, thread_id);
#if PY_VERSION_HEX >= 0x030b0000
    AT("thread.native_id", PyThreadState, native_thread_id);
#endif
#if PY_VERSION_HEX >= 0x030d0000
    AT("thread.frame", PyThreadState, current_frame);
#elif PY_VERSION_HEX >= 0x030b0000
    AT("thread.frame", PyThreadState, cframe);
    AT("cframe.frame", _PyCFrame, current_frame);
#else
    AT("thread.frame", PyThreadState, frame);
#endif

#if PY_VERSION_HEX >= 0x030b0000
    AT("frame.previous", _PyInterpreterFrame, previous);
    AT("frame.locals", _PyInterpreterFrame, localsplus);
    AT("code.locals", PyCodeObject, co_localsplusnames);
#if PY_VERSION_HEX >= 0x030e0000
    AT("frame.owner", _PyInterpreterFrame, owner);
    print("frame.first_shim", FRAME_OWNED_BY_INTERPRETER);
#elif PY_VERSION_HEX >= 0x030c0000
    AT("frame.owner", _PyInterpreterFrame, owner);
    print("frame.first_shim", FRAME_OWNED_BY_CSTACK);
#endif
#if PY_VERSION_HEX >= 0x030d0000
    AT("frame.code", _PyInterpreterFrame, f_executable);
    AT("frame.instruction", _PyInterpreterFrame, instr_ptr);
#else
    AT("frame.code", _PyInterpreterFrame, f_code);
    AT("frame.instruction", _PyInterpreterFrame, prev_instr);
#endif
#if PY_VERSION_HEX < 0x030c0000
    AT("frame.entry", _PyInterpreterFrame, is_entry);
#endif
#else
    AT("frame.previous", PyFrameObject, f_back);
    AT("frame.locals", PyFrameObject, f_localsplus);
    AT("code.locals", PyCodeObject, co_varnames);
    AT("frame.code", PyFrameObject, f_code);
    AT("frame.instruction", PyFrameObject, f_lasti);
#endif

    AT("code.first_line", PyCodeObject, co_firstlineno);
    AT("code.file", PyCodeObject, co_filename);
    AT("code.name", PyCodeObject, co_name);
#if PY_VERSION_HEX >= 0x030b0000
    AT("code.qualified_name", PyCodeObject, co_qualname);
    AT("code.instructions", PyCodeObject, co_code_adaptive);
#endif
#if PY_VERSION_HEX >= 0x030a0000
    AT("code.lines", PyCodeObject, co_linetable);
#else
    AT("code.lines", PyCodeObject, co_lnotab);
#endif

    AT("object.type", PyObject, ob_type);
    AT("type.name", PyTypeObject, tp_name);
    AT("sized.length", PyVarObject, ob_size);
    AT("bytes.data", PyBytesObject, ob_sval);
    AT("tuple.items", PyTupleObject, ob_item);
    AT("float.value", PyFloatObject, ob_fval);
    AT("text.length", PyASCIIObject, length);
    AT("text.state", PyASCIIObject, state);
    print("text.ascii_data", sizeof(PyASCIIObject));
    print("text.data", sizeof(PyCompactUnicodeObject));
    BITS(kind);
    BITS(compact);
    BITS(ascii);

#if PY_VERSION_HEX >= 0x030c0000
    AT("interpreter.gil", PyInterpreterState, ceval.gil);
#else
    AT("runtime.gil", _PyRuntimeState, ceval.gil);
#endif
    AT("gil.holder", struct _gil_runtime_state, last_holder);
    AT("gil.locked", struct _gil_runtime_state, locked);
    AT("gil.queue", struct _gil_runtime_state, cond);
    print("gil.size", sizeof(struct _gil_runtime_state));
#ifdef Py_GIL_DISABLED
    AT("gil.enabled", struct _gil_runtime_state, enabled);
#if PY_VERSION_HEX >= 0x030e0000
    AT("code.copies", PyCodeObject, co_tlbc);
    AT("frame.copy", _PyInterpreterFrame, tlbc_index);
    /* What such an interpreter says of itself. */
    static const struct _Py_DebugOffsets own = _Py_DebugOffsets_INIT("xdebugpy");
    for (int word = 0; word < 95; word++) {
        char name[16];
        snprintf(name, sizeof name, "word.%d", word);
        print(name, ((const uint64_t *)&own)[word]);
    }
#endif
#endif
    return 0;
}
