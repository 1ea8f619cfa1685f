namespace LoraNet.Models.Families;

/// <summary>Mixtral: Mistral with a mixture of experts for the MLP. Source: transformers modeling_mixtral.py.</summary>
internal static class Mixtral
{
    public static DecoderOptions Options(ModelConfig config) => Llama.Options(config) with
    {
        Experts = config.NumLocalExperts ?? 8,
        ExpertsPerToken = config.NumExpertsPerToken ?? 2,
        Names = new DecoderNames
        {
            Router = "block_sparse_moe.gate",
            Expert = "block_sparse_moe.experts.{0}",
            Gate = "w1",
            Up = "w3",
            Down = "w2",
            StackedExperts = "mlp.experts",
        },
    };
}
