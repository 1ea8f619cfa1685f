namespace LoraNet.Models.Families;

/// <summary>Phi-3: Llama with q, k, v in one projection and gate, up in another. Source: transformers modeling_phi3.py.</summary>
internal static class Phi3
{
    public static DecoderOptions Options(ModelConfig config) => Llama.Options(config) with
    {
        Names = new DecoderNames { FusedQueryKeyValue = "self_attn.qkv_proj", FusedGateUp = "mlp.gate_up_proj" },
        // PEFT has no default for phi3; its attention has only this projection.
        DefaultTargets = ["qkv_proj"],
    };
}
