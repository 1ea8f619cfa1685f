namespace LoraNet.Paper.Experiments;

/// <summary>
/// The paper's claims that need no run: how many values LoRA trains, and what its optimizer and files hold, worked out from the sizes of
/// the matrices. A pair for a matrix [output, input] has r·(input + output) values.
/// </summary>
internal static class Arithmetic
{
    /// <summary>A model with LoRA on some matrices of every layer.</summary>
    /// <param name="Model">Its name.</param>
    /// <param name="Parameters">All its values, tied ones once.</param>
    /// <param name="Layers">Blocks.</param>
    /// <param name="Matrices">Inputs and outputs of the adapted matrices of a block.</param>
    /// <param name="Rank">r.</param>
    /// <param name="Targets">What is adapted, in words.</param>
    /// <param name="Paper">What the paper prints for the trained values; null when it does not have the case.</param>
    internal sealed record Case(string Model, long Parameters, int Layers, (int Inputs, int Outputs)[] Matrices, int Rank, string Targets, string? Paper)
    {
        /// <summary>Values that LoRA trains.</summary>
        public long Trained => Layers * Matrices.Sum(m => (long)Rank * (m.Inputs + m.Outputs));

        /// <summary>AdamW's two moments in 4 bytes each, for LoRA and for every value.</summary>
        public (long Lora, long Full) OptimizerBytes => (8 * Trained, 8 * Parameters);

        /// <summary>A file of 2-byte values, without its header.</summary>
        public (long Lora, long Full) FileBytes => (2 * Trained, 2 * Parameters);
    }

    /// <summary>The cases of the table.</summary>
    public static IReadOnlyList<Case> Cases { get; } =
    [
        Gpt("GPT-3 175B", 12288, 96, 2048, 1, "4.7M (table 4)"),
        Gpt("GPT-3 175B", 12288, 96, 2048, 4, "35 MB on disk (section 4.2)"),
        Gpt("GPT-3 175B", 12288, 96, 2048, 8, "37.7M (table 4)"),
        Gpt("GPT-2 medium", 1024, 24, 1024, 4, "0.35M (table 3)"),
        Gpt("GPT-2 large", 1280, 36, 1024, 4, "0.77M (table 3)"),
        new("RoBERTa base", Roberta(768, 12, 3072), 12, [(768, 768), (768, 768)], 8, "query, value", "0.3M (table 2)"),
        new("RoBERTa large", Roberta(1024, 24, 4096), 24, [(1024, 1024), (1024, 1024)], 8, "query, value", "0.8M (table 2)"),
        new("Llama-3.2-1B", Llama(2048, 16, 8192, 512, 128256), 16, [(2048, 2048), (2048, 512)], 8, "query, value", null),
    ];

    /// <summary>Values of a GPT: four attention matrices and two of 4d per block with biases, two norms a block and one at the end, embeddings of
    /// 50,257 tokens and of the positions.</summary>
    public static long GptParameters(long width, long layers, long positions) =>
        layers * (12 * width * width + 13 * width) + (50257 + positions) * width + 2 * width;

    private static Case Gpt(string name, int width, int layers, int positions, int rank, string paper) =>
        new(name, GptParameters(width, layers, positions), layers, [(width, width), (width, width)], rank, "query, value", paper);

    // Four attention matrices and two of the feed-forward width, biases and two norms a block; 50,265 tokens, 514 positions, one type and a norm; no pooler.
    private static long Roberta(long width, long layers, long inner) =>
        layers * (4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width) + (50265 + 514 + 1) * width + 2 * width;

    // Queries and outputs of the whole width, keys and values of kv, three matrices of the feed-forward width, two norms a block and one at the end; tied embeddings.
    private static long Llama(long width, long layers, long inner, long kv, long vocabulary) =>
        layers * (2 * width * width + 2 * width * kv + 3 * width * inner + 2 * width) + vocabulary * width + width;
}
