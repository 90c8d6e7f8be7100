"""Selection of the backend that runs a model.

Each backend is imported only where it is used.
"""

from __future__ import annotations

from lmtui.engine.backend import AnyBackend
from lmtui.models.loaded_model import LoadedModel


def backend_of(loaded: LoadedModel) -> AnyBackend:
    if loaded.is_remote:
        from lmtui.models.remote.lmtui_server import LmtuiServerModel

        if isinstance(loaded.model, LmtuiServerModel):
            from lmtui.engine.backends.remote import LmtuiServerBackend

            return LmtuiServerBackend(loaded.model)
        from lmtui.engine.backends.top_logprobs import TopLogprobsBackend

        return TopLogprobsBackend(loaded.model)
    if loaded.is_llama:
        from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend

        return LlamaCpuBackend(loaded.model.weights)
    if loaded.device.type == "cuda":
        from lmtui.engine.backends.cuda_graph import CudaGraphBackend

        if CudaGraphBackend.suits(loaded.model):
            return CudaGraphBackend(loaded.model)
    from lmtui.engine.backends.transformers import TransformersBackend

    return TransformersBackend(loaded.model)
